"""Happy Returns to Linnworks: stock moves at once, money once a day, nothing moves twice."""

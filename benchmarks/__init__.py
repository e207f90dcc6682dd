"""What the pipeline costs, measured: beside dlt, as history grows, in calls, in memory.

Run by ``make bench``; each measurement runs in a process of its own, so that its peak
memory is its own. Nothing here is part of the program or of its tests.
"""

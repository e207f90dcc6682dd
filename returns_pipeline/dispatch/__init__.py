"""Carrying out writes to Linnworks, each exactly once: the outbox and who drives it.

``protocol`` claims, sends, settles and reads back; ``writes`` holds one small class a kind
of write; ``intend`` turns decisions into intents; ``readings`` reads what others did.
"""

"""Carrying out writes to Linnworks, each exactly once: the outbox and who drives it.

``protocol`` claims, sends, settles and reads back; ``writes`` says what a kind of write
must be able to do, and ``restocks``, ``refunds`` and ``replacements`` hold one small class a
kind; ``intend`` turns decisions into intents; ``readings`` reads what others did.
"""

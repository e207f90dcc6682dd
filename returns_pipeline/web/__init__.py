"""The exception queue as a web page, for people who open no terminal.

``app`` makes it, ``views`` and ``forms`` are its pages, ``door`` its sign-in, ``serving`` its
server. There is no logic of its own here: what is done to a task is ``steps.queue``'s, who
gets in is ``steps.access``'s.
"""

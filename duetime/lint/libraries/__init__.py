"""Rules about libraries other than Celery: a file for each, in the form of `declaration`.

A project's interpreter imports these files, so they use the standard library alone.
"""

"""Find settings of a Celery application that lose or duplicate tasks, without starting it.

`request.run` needs no Celery: it asks a process of the project's own interpreter, which has it.
"""

"""Find settings of an application that lose, duplicate or delay tasks, without starting it.

This package has the rules about Celery, `libraries` those about other libraries. `request.run` needs no Celery: it
asks a process of the project's own interpreter, which has it.
"""

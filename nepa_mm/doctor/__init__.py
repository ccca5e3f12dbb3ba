"""``python -m nepa_mm.doctor``: what is installed, what fits what, what works here, and what to do about the rest.

It is for installations in which nothing works, so this package imports the standard library alone. Everything else is imported
in processes of their own (tries.py), which may raise, crash or hang.
"""

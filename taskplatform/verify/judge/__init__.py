"""The judge: decides by what was seen from outside, and knows nothing of the platform.

It reads a *history*, a folder with what bodies, clients, the nemesis and an outside API wrote
down, and one final dump; `python -m taskplatform.verify.judge FOLDER` prints its verdict.
"""

"""`python -m study`, the same as `cov-study`."""

from study.commands.app import main

main()

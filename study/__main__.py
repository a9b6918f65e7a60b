"""`python -m study`, the same as `cov-study`."""

from study.cli import main

main()

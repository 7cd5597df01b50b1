"""Wheels of four targets on one machine, without containers, and what proves them.

    python -m tools.wheels            what `make wheels` runs
    python -m tools.wheels.native     the one of this machine, by its own compiler: `make wheel`

To read in this order: targets (what is built), build (how, twice), judge (what a wheel must be),
trial (it is installed and used), foreign (the same on CPUs that are emulated).
"""

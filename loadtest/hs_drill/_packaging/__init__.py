"""What Hatchling runs to build the distributions of the harness. It is not part of the wheel."""

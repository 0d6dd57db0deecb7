from __future__ import annotations

import os

# Importing locust patches the standard library of the whole process, which ends trio in it. Here only its classes are
# wanted; Locust itself runs in processes of its own, whose environment drops this again.
os.environ["LOCUST_SKIP_MONKEY_PATCH"] = "1"

"""Each way in which a plan is wrong, by its name."""

from __future__ import annotations

from tests.support.bad_plans.changes import Wrong
from tests.support.bad_plans.engines import ENGINES
from tests.support.bad_plans.loads import LOADS
from tests.support.bad_plans.models import MODELS
from tests.support.bad_plans.ranges import RANGES
from tests.support.bad_plans.scoring import SCORING

BAD: dict[str, Wrong] = {**MODELS, **ENGINES, **LOADS, **SCORING, **RANGES}

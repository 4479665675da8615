"""What steps, epochs, memory and imports cost, beside the same by hand and beside others."""

from inference.studies.bench.benchmark import run_benchmark
from inference.studies.bench.effort import QUICK, WHOLE, Effort
from inference.studies.bench.report import write_page
from inference.studies.bench.results import Results
from inference.studies.bench.targets import TARGETS, verdict

__all__ = ["QUICK", "TARGETS", "WHOLE", "Effort", "Results", "run_benchmark", "verdict", "write_page"]

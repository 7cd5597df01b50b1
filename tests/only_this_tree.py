"""As `sitecustomize`: an editable install would find the package elsewhere, in every process."""

import sys

sys.meta_path[:] = [each for each in sys.meta_path if "editable" not in type(each).__module__]

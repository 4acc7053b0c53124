"""Where the console's files are: in a clone, or installed from a wheel."""

from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
# A wheel carries templates, static files and translations inside the package (pyproject.toml, "force-include").
BUNDLED = PACKAGE / "bundled"
IS_INSTALLED = BUNDLED.is_dir()
# The folder of templates/, static/ and locale/.
RESOURCES = BUNDLED if IS_INSTALLED else PACKAGE.parent
# The folder of .env, data/ and staticfiles/: the clone, or the one in which an installed console is started.
BASE_DIR = Path.cwd() if IS_INSTALLED else PACKAGE.parent

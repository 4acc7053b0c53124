"""Storage for static files with hashed names, including ES module imports."""

import os
from collections.abc import Iterator
from typing import Any

from whitenoise.storage import CompressedManifestStaticFilesStorage


class ModuleManifestStorage(CompressedManifestStaticFilesStorage):  # type: ignore[misc]
    """Whitenoise's storage that also rewrites `import … from "./x.js"` to hashed names."""

    support_js_module_import_aggregation = True

    def post_process(self, *args: Any, **options: Any) -> Iterator[Any]:
        """Rewrite and compress the collected files, readable by everybody (settings.py makes new files private)."""
        umask = os.umask(0o022)
        try:
            yield from super().post_process(*args, **options)
        finally:
            os.umask(umask)

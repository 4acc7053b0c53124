"""Static files under hashed names, ES module imports included."""

import os
from collections.abc import Iterator
from typing import Any

from whitenoise.storage import CompressedManifestStaticFilesStorage


class ModuleManifestStorage(CompressedManifestStaticFilesStorage):  # type: ignore[misc]
    """Whitenoise's storage, which also rewrites `import … from "./x.js"` to the hashed name."""

    support_js_module_import_aggregation = True

    def post_process(self, *args: Any, **options: Any) -> Iterator[Any]:
        """Rewrite and compress what was collected, for everybody to read (settings.py keeps new files private)."""
        umask = os.umask(0o022)
        try:
            yield from super().post_process(*args, **options)
        finally:
            os.umask(umask)

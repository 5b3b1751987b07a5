"""Exit 0 if the web process of this container answers. Whether it is ready is a question for the proxy."""

import os
import sys
import urllib.error
import urllib.request

url = f"http://127.0.0.1:{os.environ.get('PORT', '8080')}/livez"
try:
    with urllib.request.urlopen(url, timeout=2):
        pass
except (OSError, urllib.error.URLError) as error:
    sys.exit(f"{url}: {error}")

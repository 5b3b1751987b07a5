"""Exit 0 if the process of this container answers: a web process at /livez, any other at the URL that is given.

Whether it is ready is a question for the proxy, and whoever may not read an answer (401) has got one all the same.
"""

import os
import sys
import urllib.error
import urllib.request

url = sys.argv[1] if len(sys.argv) > 1 else f"http://127.0.0.1:{os.environ.get('PORT', '8080')}/livez"
try:
    with urllib.request.urlopen(url, timeout=2):
        pass
except urllib.error.HTTPError as answer:
    answer.close()
except OSError as error:
    sys.exit(f"{url}: {error}")

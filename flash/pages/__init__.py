"""What browsers load: HTML, CSS and JavaScript as they are written, without a build step. No Python but this line.

`flash.http.static_files` serves it. Each folder is one page; `vendor/` holds what others wrote, each file with its
licence and hash.
"""

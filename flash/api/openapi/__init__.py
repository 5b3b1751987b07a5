"""The description of the API as OpenAPI 3.1, in plain data. It is what `GET /openapi.json` answers.

`document` puts it together from the operations in `shop`, `reading`, `operators` and `service`, and from what the
service itself uses: the bounds of parameters, the problem types, the words of the domain.
"""

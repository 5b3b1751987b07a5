#!/bin/sh
# Makes the two roles and the database, when the container of PostgreSQL starts for the first time.
set -eu
export SECRETS="${SECRETS:-/run/secrets}"
# psql reads the passwords itself: an argument of its would be seen in the list of processes.
psql --no-psqlrc --quiet --set=ON_ERROR_STOP=1 --username="${POSTGRES_USER:-postgres}" --dbname=postgres <<'SQL'
\set owner_password `cat "$SECRETS/owner_password"`
\set service_password `cat "$SECRETS/service_password"`
CREATE ROLE flash_owner LOGIN PASSWORD :'owner_password';
CREATE ROLE flash_service LOGIN PASSWORD :'service_password';
CREATE DATABASE flash OWNER flash_owner;
REVOKE ALL ON DATABASE flash FROM PUBLIC;
GRANT CONNECT ON DATABASE flash TO flash_service;
SQL

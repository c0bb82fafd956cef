#!/bin/sh
# cron.sh once, after vault.sh; then cron.sh host NAME for each host, which leaves two files for it.
set -eu
case $1 in
once)
  bao auth enable approle
  bao write auth/approle/role/reports token_policies=tok-machine token_type=batch token_ttl=10m
  ;;
host)
  umask 077
  bao read -field=role_id auth/approle/role/reports/role-id >role-id
  bao write -field=secret_id auth/approle/role/reports/secret-id metadata="{\"host\": \"$2\"}" >secret-id
  ;;
esac

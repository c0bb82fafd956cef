# For runners and hosts: read the session, renew it, and say that it has ended.
path "secret/data/ci/tok/*" {
  capabilities = ["create", "read", "update"]
}

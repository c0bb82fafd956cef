# For people who log in and out.
path "secret/data/ci/tok/*" {
  capabilities = ["create", "read", "update"]
}
path "secret/destroy/ci/tok/*" {
  capabilities = ["update"]
}

#!/bin/sh
# Run once, after vault.sh: the vault trusts the jobs of one branch of one repository.
set -eu
github=https://token.actions.githubusercontent.com
bao auth enable jwt
bao write auth/jwt/config oidc_discovery_url=$github bound_issuer=$github
bao write auth/jwt/role/reports - <<'EOF'
{
  "role_type": "jwt",
  "user_claim": "sub",
  "bound_audiences": ["https://vault.example.com:8200"],
  "bound_claims": { "repository": "example/reports", "ref": "refs/heads/main" },
  "token_policies": ["tok-machine"],
  "token_type": "batch",
  "token_ttl": "10m"
}
EOF

#!/bin/sh
# Run once by who administers the vault, in this folder. HashiCorp's program is called vault and takes the same words.
set -eu
bao secrets enable -path=secret -version=2 kv
bao policy write tok-machine machine.hcl
bao policy write tok-person person.hcl

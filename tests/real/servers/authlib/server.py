"""A strict authorization server (Authlib over Flask, all in memory) for tests on loopback.

    python3 -m venv V && V/bin/pip install -r requirements.txt
    KEYS_DIR=DIR V/bin/python server.py [PORT]             prints {"ready": true, ...} when it listens;
    ends when stdin ends

Unlike oidc-provider it refuses a client that uses another authentication method than the one it is
registered for. Grants: client_credentials, password, authorization_code (PKCE), refresh_token
(rotating; REUSE=revoke kills the family when an old one returns), device code (with slow_down),
RFC 7523 jwt-bearer (assertions signed with KEYS_DIR/bearer.pem, RS256, iss=jwt-bearer; KEYS_DIR/assertion.jwt is a good one for alice), and RFC 7522
saml-bearer, which the library leaves to its users: KEYS_DIR/assertion.xml is a good one for alice, base64url in
KEYS_DIR/assertion.b64; the signature is made and checked by signxml.
Settings: ACCESS_TTL, REFRESH_TTL, DEVICE_TTL. User alice.
"""
import base64
import binascii
import datetime
import json
import logging
import os
import secrets
import sys
import threading
import time
from pathlib import Path

from authlib.integrations.flask_oauth2 import AuthorizationServer
from authlib.oauth2.rfc6749 import BaseGrant, ClientMixin, TokenEndpointMixin, TokenMixin, grants, list_to_scope, scope_to_list
from authlib.oauth2.rfc6749.errors import InvalidGrantError
from authlib.oauth2.rfc7009 import RevocationEndpoint
from authlib.oauth2.rfc7523 import JWTBearerClientAssertion, JWTBearerGrant
from authlib.oauth2.rfc7636 import CodeChallenge
from authlib.oauth2.rfc7662 import IntrospectionEndpoint
from authlib.oauth2.rfc8628 import DEVICE_CODE_GRANT_TYPE, DeviceAuthorizationEndpoint, DeviceCodeGrant, DeviceCredentialMixin
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from flask import Flask, jsonify, redirect, request, session
from joserfc.jwk import OctKey, RSAKey
from lxml import etree
from signxml import XMLSigner, XMLVerifier
from signxml.exceptions import InvalidInput, InvalidSignature
from werkzeug.serving import make_server

os.environ["AUTHLIB_INSECURE_TRANSPORT"] = "1"
CANARY = "ca9a41e5"  # stands in every secret and token: the tests look for it where none may be


def number(name, default):
    return int(os.environ.get(name, default))


keys = Path(os.environ["KEYS_DIR"])
keys.mkdir(mode=0o700, parents=True, exist_ok=True)


def make_key(name):
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (keys / f"{name}.pem").write_bytes(pem)
    return RSAKey.import_key(key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo))


class Client(ClientMixin):
    def __init__(self, client_id, method, secret=None, key=None):
        self.client_id, self.method, self.secret, self.key = client_id, method, secret, key

    def get_client_id(self):
        return self.client_id

    def get_default_redirect_uri(self):
        return None

    def get_allowed_scope(self, scope):
        return list_to_scope([s for s in scope_to_list(scope or "read") if s in ("read", "write", "offline_access")])

    def check_redirect_uri(self, uri):
        return uri.startswith(("http://127.0.0.1:", "http://localhost:", "http://[::1]:"))

    def check_client_secret(self, secret):
        return self.secret is not None and secrets.compare_digest(self.secret, secret)

    def check_endpoint_auth_method(self, method, endpoint):
        return self.method == method

    def check_response_type(self, response_type):
        return response_type == "code"

    def check_grant_type(self, grant_type):
        return True


class Token(TokenMixin):
    def __init__(self, data, client_id, user):
        self.data, self.client_id, self.user, self.family = data, client_id, user, None
        self.issued_at, self.revoked = int(time.time()), False
        self.access_token, self.refresh_token, self.scope = data["access_token"], data.get("refresh_token"), data.get("scope", "")

    def check_client(self, client):
        return client.client_id == self.client_id

    def get_scope(self):
        return self.scope

    def get_expires_in(self):
        return self.data["expires_in"]

    def is_expired(self):
        return time.time() > self.issued_at + self.data["expires_in"]

    def is_revoked(self):
        return self.revoked

    def get_user(self):
        return self.user

    def get_client(self):
        return clients[self.client_id]


class Code:
    nonce = auth_time = acr = amr = None

    def __init__(self, **fields):
        self.__dict__.update(fields)

    def get_redirect_uri(self):
        return self.redirect_uri

    def get_scope(self):
        return self.scope


class Device(dict, DeviceCredentialMixin):
    def get_client_id(self):
        return self["client_id"]

    def get_scope(self):
        return self["scope"]

    def get_user_code(self):
        return self["user_code"]

    def is_expired(self):
        return time.time() > self["ends"]

    def get_nonce(self):
        return None

    def get_auth_time(self):
        return None


users = {"alice": f"wonderland-{CANARY}"}
tokens, codes, devices, used_jti, last_poll = [], {}, {}, set(), {}
bearer_key = make_key("bearer")
clients = {c.client_id: c for c in [
    Client("basic", "client_secret_basic", f"basic-secret-{CANARY}"),
    Client("post", "client_secret_post", f"post-secret-{CANARY}"),
    Client("odd:id/+%41", "client_secret_basic", 's+cr%t &=:"~%zz-' + CANARY),
    Client("odd/+%41", "client_secret_basic", 's+cr%t &=:"~%zz-' + CANARY),
    Client("public", "none"),
    Client("secret-jwt", "client_assertion_jwt", f"a-shared-secret-of-at-least-32-bytes!-{CANARY}"),
    Client("key-jwt", "client_assertion_jwt", key=make_key("client")),
]}


def save_token(token, req):
    saved = Token(token, req.client.client_id, req.user)
    old = getattr(req, "refresh_token", None)
    saved.family = old.family if isinstance(old, Token) else secrets.token_hex(4)
    tokens.append(saved)



app = Flask(__name__)
app.config.update(SECRET_KEY="test", OAUTH2_ACCESS_TOKEN_GENERATOR=lambda *_, **__: f"{CANARY}{secrets.token_urlsafe(30)}",
                  OAUTH2_REFRESH_TOKEN_GENERATOR=lambda *_, **__: f"{CANARY}{secrets.token_urlsafe(30)}",
                  OAUTH2_TOKEN_EXPIRES_IN={g: number("ACCESS_TTL", 600) for g in (
                      "authorization_code", "client_credentials", "password", "refresh_token", "implicit",
                      DEVICE_CODE_GRANT_TYPE, JWTBearerGrant.GRANT_TYPE)})
server = AuthorizationServer(app, query_client=lambda client_id: clients.get(client_id), save_token=save_token)
METHODS = ["client_secret_basic", "client_secret_post", "none", "client_assertion_jwt"]


class ClientCredentials(grants.ClientCredentialsGrant):
    TOKEN_ENDPOINT_AUTH_METHODS = [m for m in METHODS if m != "none"]


class Password(grants.ResourceOwnerPasswordCredentialsGrant):
    TOKEN_ENDPOINT_AUTH_METHODS = METHODS

    def authenticate_user(self, username, password):
        return username if users.get(username) == password else None


class AuthorizationCode(grants.AuthorizationCodeGrant):
    TOKEN_ENDPOINT_AUTH_METHODS = METHODS

    def save_authorization_code(self, code, req):
        data = req.payload.data
        codes[code] = Code(code=code, client_id=req.client.client_id, redirect_uri=req.payload.redirect_uri,
                           scope=req.client.get_allowed_scope(req.payload.scope), user=req.user, ends=time.time() + 60,
                           code_challenge=data.get("code_challenge"), code_challenge_method=data.get("code_challenge_method"))

    def query_authorization_code(self, code, client):
        found = codes.get(code)
        return found if found and found.client_id == client.client_id and time.time() < found.ends else None

    def delete_authorization_code(self, code):
        codes.pop(code.code, None)

    def authenticate_user(self, code):
        return code.user


class Refresh(grants.RefreshTokenGrant):
    TOKEN_ENDPOINT_AUTH_METHODS = METHODS
    INCLUDE_NEW_REFRESH_TOKEN = True

    def authenticate_refresh_token(self, value):
        found = next((t for t in tokens if t.refresh_token == value), None)
        if found and found.revoked and os.environ.get("REUSE") == "revoke":
            for token in tokens:
                token.revoked = token.revoked or token.family == found.family
        if not found or found.revoked or time.time() > found.issued_at + number("REFRESH_TTL", 86400):
            return None
        self.request.refresh_token = found
        return found

    def authenticate_user(self, token):
        return token.user

    def revoke_old_credential(self, token):
        token.revoked = True


class DeviceGrant(DeviceCodeGrant):
    TOKEN_ENDPOINT_AUTH_METHODS = METHODS

    def query_device_credential(self, code):
        return devices.get(code)

    def query_user_grant(self, user_code):
        device = next(d for d in devices.values() if d["user_code"] == user_code)
        return device.get("answer")

    def should_slow_down(self, device):
        early = time.time() - last_poll.get(device["device_code"], 0) < device["interval"] - 0.05
        last_poll[device["device_code"]] = time.time()
        return early


class DeviceEndpoint(DeviceAuthorizationEndpoint):
    EXPIRES_IN = number("DEVICE_TTL", 600)
    INTERVAL = 1
    CLIENT_AUTH_METHODS = METHODS

    def get_verification_uri(self):
        return f"{base}/device"

    def save_device_credential(self, client_id, scope, data):
        devices[data["device_code"]] = Device(data, client_id=client_id, scope=scope or "read", ends=time.time() + data["expires_in"])


class Assertion(JWTBearerClientAssertion):
    def get_audiences(self):
        return [base, f"{base}/oauth/token"]

    def resolve_client_public_key(self, client):
        return client.key or OctKey.import_key(client.secret)

    def validate_jti(self, claims, jti):
        fresh = (claims["sub"], jti) not in used_jti
        used_jti.add((claims["sub"], jti))
        return fresh


class JwtBearer(JWTBearerGrant):
    def get_audiences(self):
        return [base, f"{base}/oauth/token"]

    def resolve_issuer_client(self, issuer):
        return Client(issuer, "none") if issuer == "jwt-bearer" else None

    def resolve_client_key(self, client, headers, payload):
        return bearer_key

    def authenticate_user(self, subject):
        return subject if subject in users else None

    def has_granted_permission(self, client, user):
        return True


SAML = "{urn:oasis:names:tc:SAML:2.0:assertion}"
idp_key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
idp_name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "idp.example")])
long_ago, far = (datetime.datetime(year, 1, 1, tzinfo=datetime.UTC) for year in (2020, 2049))
idp_certificate = (x509.CertificateBuilder().subject_name(idp_name).issuer_name(idp_name).public_key(idp_key.public_key())
                   .serial_number(1).not_valid_before(long_ago).not_valid_after(far).sign(idp_key, hashes.SHA256()))


def write_assertion():
    now = datetime.datetime.now(datetime.UTC)
    begins, ends = (at.strftime("%Y-%m-%dT%H:%M:%SZ") for at in (now, now + datetime.timedelta(hours=1)))
    assertion = etree.fromstring(f"""<saml:Assertion xmlns:saml="{SAML[1:-1]}" Version="2.0" ID="_1" IssueInstant="{begins}">
<saml:Issuer>https://idp.example</saml:Issuer>
<saml:Subject><saml:NameID>alice</saml:NameID>
<saml:SubjectConfirmation Method="urn:oasis:names:tc:SAML:2.0:cm:bearer">
<saml:SubjectConfirmationData NotOnOrAfter="{ends}" Recipient="{base}/oauth/token"/></saml:SubjectConfirmation></saml:Subject>
<saml:Conditions NotOnOrAfter="{ends}"><saml:AudienceRestriction><saml:Audience>{base}</saml:Audience></saml:AudienceRestriction></saml:Conditions>
</saml:Assertion>""")
    signed = etree.tostring(XMLSigner().sign(assertion, key=idp_key, cert=[idp_certificate]))
    (keys / "assertion.xml").write_bytes(signed)
    (keys / "assertion.b64").write_bytes(base64.urlsafe_b64encode(signed).rstrip(b"="))


class SamlBearer(BaseGrant, TokenEndpointMixin):
    GRANT_TYPE = "urn:ietf:params:oauth:grant-type:saml2-bearer"
    TOKEN_ENDPOINT_AUTH_METHODS = METHODS

    def validate_token_request(self):
        self.request.client = self.authenticate_token_endpoint_client()
        value = self.request.form.get("assertion", "")
        try:
            if any(c in value for c in "+/="):
                raise binascii.Error("base64url without padding (RFC 7522 section 2.1)")
            xml = base64.b64decode(value + "=" * (-len(value) % 4), altchars=b"-_", validate=True)
            signed = XMLVerifier().verify(etree.fromstring(xml), x509_cert=idp_certificate).signed_xml
            confirmation = signed.find(f".//{SAML}SubjectConfirmationData")
            ends = datetime.datetime.fromisoformat(confirmation.get("NotOnOrAfter"))
            if (signed.findtext(f".//{SAML}Audience"), confirmation.get("Recipient")) != (base, f"{base}/oauth/token"):
                raise InvalidInput("for somebody else")
            if ends < datetime.datetime.now(datetime.UTC):
                raise InvalidInput("too late")
        except (binascii.Error, etree.XMLSyntaxError, InvalidInput, InvalidSignature) as error:
            raise InvalidGrantError(f"the assertion is not accepted: {error}") from error
        self.request.user = signed.findtext(f".//{SAML}NameID")

    def create_token_response(self):
        token = self.generate_token(user=self.request.user, scope=self.request.form.get("scope", "read"), include_refresh_token=False)
        self.save_token(token)
        return 200, token, self.TOKEN_RESPONSE_HEADER


class Introspection(IntrospectionEndpoint):
    CLIENT_AUTH_METHODS = METHODS

    def query_token(self, value, hint):
        return next((t for t in tokens if value in (t.access_token, t.refresh_token)), None)

    def check_permission(self, token, client, req):
        return True

    def introspect_token(self, token):
        return {"active": not token.revoked and not token.is_expired(), "client_id": token.client_id, "username": token.user, "scope": token.scope}


class Revocation(RevocationEndpoint):
    CLIENT_AUTH_METHODS = METHODS

    def query_token(self, value, hint):
        return next((t for t in tokens if value in (t.access_token, t.refresh_token)), None)

    def revoke_token(self, token, req):
        token.revoked = True


server.register_client_auth_method("client_assertion_jwt", Assertion(None))
for grant in (ClientCredentials, Password, Refresh, DeviceGrant, JwtBearer, SamlBearer):
    server.register_grant(grant)
server.register_grant(AuthorizationCode, [CodeChallenge(required=True)])
for endpoint in (DeviceEndpoint, Introspection, Revocation):
    server.register_endpoint(endpoint)


@app.post("/oauth/token")
def token():
    return server.create_token_response()


@app.post("/oauth/<any(revocation, introspection, device_authorization):name>")
def endpoint(name):
    return server.create_endpoint_response(name)


@app.route("/oauth/authorize", methods=["GET", "POST"])
def authorize():
    if "user" not in session:
        return redirect(f"/login?to={request.url.replace('&', '%26')}")
    if request.method == "POST":
        allowed = request.form.get("answer") == "allow"
        grant = server.get_consent_grant(end_user=session["user"])
        return server.create_authorization_response(grant_user=session["user"] if allowed else None, grant=grant)
    server.get_consent_grant(end_user=session["user"])
    return "<form method=post><button name=answer value=allow>Allow</button><button name=answer value=deny>Deny</button></form>"


@app.route("/login", methods=["GET", "POST"])
def login():
    if request.method == "GET":
        return "<form method=post><input name=username><input name=password type=password><button>Sign in</button></form>"
    if users.get(request.form["username"]) != request.form["password"]:
        return redirect(request.url)
    session["user"] = request.form["username"]
    return redirect(request.args["to"])


@app.route("/device", methods=["GET", "POST"])
def device():
    if "user" not in session:
        return redirect(f"/login?to={request.url}")
    if request.method == "GET":
        code = request.args.get("user_code", "")
        return (f"<form method=post><input name=user_code value='{code}'>"
                "<button name=answer value=allow>Allow</button><button name=answer value=deny>Deny</button></form>")
    found = next((d for d in devices.values() if d["user_code"] == request.form["user_code"]), None)
    if not found:
        return "no such code", 404
    found["answer"] = (session["user"], request.form["answer"] == "allow")
    return "Device connected"


@app.get("/me")
def me():
    value = request.headers.get("authorization", "").partition(" ")[2]
    found = next((t for t in tokens if t.access_token == value and not t.revoked and not t.is_expired()), None)
    return jsonify(sub=found.user or found.client_id, scope=found.scope) if found else (jsonify(error="invalid_token"), 401)


@app.get("/.well-known/oauth-authorization-server")
def metadata():
    return jsonify(issuer=base, authorization_endpoint=f"{base}/oauth/authorize", token_endpoint=f"{base}/oauth/token",
                   device_authorization_endpoint=f"{base}/oauth/device_authorization", revocation_endpoint=f"{base}/oauth/revocation",
                   introspection_endpoint=f"{base}/oauth/introspection", response_types_supported=["code"],
                   code_challenge_methods_supported=["S256"])


if not os.environ.get("VERBOSE"):
    logging.getLogger("werkzeug").setLevel(logging.ERROR)

listener = make_server("127.0.0.1", int(sys.argv[1]) if len(sys.argv) > 1 else 0, app, threaded=True)
base = f"http://127.0.0.1:{listener.server_port}"
write_assertion()
private = RSAKey.import_key((keys / "bearer.pem").read_bytes())
(keys / "assertion.jwt").write_text(JWTBearerGrant.sign(private, "jwt-bearer", base, "alice", alg="RS256"))
print(json.dumps({"ready": True, "issuer": base, "pid": os.getpid()}), flush=True)


def stop_with_parent():
    sys.stdin.read()
    os._exit(0)


threading.Thread(target=stop_with_parent, daemon=True).start()
listener.serve_forever()

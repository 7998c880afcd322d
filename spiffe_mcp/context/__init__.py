"""The signed user context that travels with a call: who acts, for which user, on which request. Pure.

    egress:  Signer.of(svid) once for each SVID; mint(delegation, signer=..., ...) once for each request
    ingress: verify(header, hop=..., ...), then ReplayGuard.check(...)

Modules, lowest first: `base64url`, `claims`, `jwa` (signatures); `user`, `binding`; `link` (what a link
says), `jws` (how it is written); `limits`, `mint`, `verify`, `replay`.
"""

"""Certificates in the layout that the suites expect: two authorities, one of them trusted by
nobody, nodes for the names of this machine, and users."""

from processes import checked

NODE = """subjectAltName=DNS:localhost,DNS:eventstoredb-node,IP:127.0.0.1,IP:::1
extendedKeyUsage=serverAuth,clientAuth
keyUsage=critical,digitalSignature,keyEncipherment
"""
USER = """extendedKeyUsage=clientAuth
keyUsage=critical,digitalSignature,keyEncipherment
"""


def make(folder):
    """Makes all of them once; the folder can be kept."""
    if (folder / "complete").exists():
        return folder
    for name in ("ca", "untrusted-ca"):
        authority(folder / name)
    for name in ("node", "node1", "node2", "node3"):
        leaf(folder, name, "node", "eventstoredb-node", NODE)
    for user in ("admin", "invalid"):
        leaf(folder, f"user-{user}", f"user-{user}", user, USER)
    (folder / "complete").touch()
    return folder


def openssl(*words):
    checked(["openssl", *words], 60)


def authority(folder):
    folder.mkdir(parents=True, exist_ok=True)
    openssl(
        *["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "3650"],
        *["-keyout", folder / "ca.key", "-out", folder / "ca.crt"],
        *["-subj", f"/CN=Annal tests {folder.name}"],
        *["-addext", "keyUsage=critical,keyCertSign,cRLSign"],
    )


def leaf(root, folder, name, common_name, extensions):
    (root / folder).mkdir(exist_ok=True)
    made = root / folder / name
    request, key, wanted = (made.with_suffix(end) for end in (".csr", ".key", ".ext"))
    wanted.write_text(extensions)
    openssl(
        *["req", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", request],
        *["-subj", f"/CN={common_name}"],
    )
    authority_of = root / "ca"
    openssl(
        *["x509", "-req", "-in", request, "-days", "3650", "-out", made.with_suffix(".crt")],
        *["-CA", authority_of / "ca.crt", "-CAkey", authority_of / "ca.key", "-CAcreateserial"],
        *["-extfile", wanted],
    )

# What the image says of itself: /usr/lib/atoll/image.json, and a bill of materials beside it.
# Disks only.
set -eu
[ -n "$ATOLL_ATOLLD" ] || exit 0

# Debian's own reader of copyright files. It comes for this moment and is not installed: a node has no use for it.
reader=$PWD/python3-debian
mkdir -p "$reader"
(cd "$reader" && apt-get -qq -o APT::Sandbox::User=root download python3-debian && dpkg-deb --extract ./*.deb .)
export PYTHONPATH="$reader/usr/lib/python3/dist-packages"

python3 - <<'PY'
import json, logging, os, subprocess, time, uuid

from debian import copyright

# It complains of spellings that it understands.
logging.disable(logging.CRITICAL)

# licences returns a component's licences, by the names that Debian gives them, when the package's copyright file is one for
# machines (copyright-format/1.0). It is about all files of the source package.
def licences(package):
    try:
        with open(f"/usr/share/doc/{package}/copyright", encoding="utf-8", errors="replace") as f:
            files = copyright.Copyright(f, strict=False).all_files_paragraphs()
            names = sorted({p.license.synopsis.strip() for p in files if p.license} - {""})
    except (FileNotFoundError, copyright.NotMachineReadableError):
        return {}
    return {"licenses": [{"license": {"name": name}} for name in names]} if names else {}

def output(*argv):
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout

env = os.environ
release = dict(l.rstrip().split("=", 1) for l in open("/etc/os-release") if "=" in l)
suite = release["VERSION_CODENAME"].strip('"')
agent = json.loads(output(env["ATOLL_ATOLLD"], "version", "--json"))
architecture = output("dpkg", "--print-architecture").strip()
built = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(int(env.get("SOURCE_DATE_EPOCH") or time.time())))
version = env["ATOLL_VERSION"] or agent["version"]

packages = []
for line in output("dpkg-query", "-W", "-f", "${db:Status-Status}\t${Package}\t${Version}\t${Architecture}\t${source:Package}\t${source:Version}\n").splitlines():
    status, *fields = line.split("\t")
    if status == "installed":
        packages.append(fields)
packages.sort()

components = [{
    "type": "library", "bom-ref": f"deb/{name}:{arch}", "name": name, "version": v,
    "purl": f"pkg:deb/debian/{name}@{v.replace('+', '%2B').replace(':', '%3A')}?arch={arch}&distro={suite}",
    "properties": [{"name": "debian:source", "value": source}, {"name": "debian:source-version", "value": sv}],
    **licences(name),
} for name, v, arch, source, sv in packages]
components.append({
    "type": "application", "bom-ref": "atolld", "name": "atolld", "version": agent["version"],
    "purl": f"pkg:golang/{agent['module']}@{agent['version']}",
    "hashes": [{"alg": "SHA-256", "content": output("sha256sum", env["ATOLL_ATOLLD"]).split()[0]}],
})
modules = [{
    "type": "library", "bom-ref": f"go/{m['path']}", "name": m["path"], "version": m["version"],
    "purl": f"pkg:golang/{m['path']}@{m['version'].replace('+', '%2B')}",
} for m in agent["modules"]]
components += modules
bom = {
    "bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1,
    "metadata": {
        "timestamp": built,
        "component": {"type": "operating-system", "bom-ref": "image", "name": "atoll-node", "version": version},
    },
    "components": components,
    "dependencies": [
        {"ref": "image", "dependsOn": [c["bom-ref"] for c in components if not c["bom-ref"].startswith("go/")]},
        {"ref": "atolld", "dependsOn": [m["bom-ref"] for m in modules]},
    ],
}
# The same content has the same number, whenever and under whatever name it was built.
bom["serialNumber"] = "urn:uuid:" + str(uuid.uuid5(uuid.NAMESPACE_URL, json.dumps(components, sort_keys=True)))
image = {
    "atoll_image": 1, "version": version, "wire": agent["wire"], "architecture": architecture, "debian": suite,
    "snapshot": env["ATOLL_SNAPSHOT"], "databases": sorted(env["ATOLL_DATABASES"].split()), "built": built,
    "packages": len(packages),
}
os.makedirs("/usr/lib/atoll", exist_ok=True)
for name, value in ("image.json", image), ("sbom.cdx.json", bom):
    with open("/usr/lib/atoll/" + name, "w") as f:
        json.dump(value, f, indent=1)
        f.write("\n")
PY
rm -r "$reader"

#!/bin/sh
# What is in an image, for a reader or a scanner: writes DIR/python.txt, debian.txt, java.txt, and
# debian-newer.txt, the packages that Debian has newer versions of. Needs an engine and a network.
# Usage: inventory.sh IMAGE DIR
set -eu
image=${1:?which image?}
directory=${2:?where to?}
mkdir -p "$directory"

inside() { docker run --rm --network host --entrypoint sh "$image" -c "$1"; }

inside 'pip list --format freeze --disable-pip-version-check' > "$directory/python.txt"
inside 'dpkg-query -W -f "\${Package} \${Version}\n"' > "$directory/debian.txt"
inside 'apt-get update -qq && apt-get -s upgrade | sed -n "s/^Inst //p"' > "$directory/debian-newer.txt"
inside 'cat > /tmp/versions.py << END
import glob, re, zipfile
(name,) = glob.glob("/opt/mme/lib/python3*/site-packages/mms/frontend/model-server.jar")
with zipfile.ZipFile(name) as jar:
    parts = [i for i in jar.infolist() if i.filename == "META-INF/io.netty.versions.properties"]
    texts = "".join(jar.open(part).read().decode() for part in parts)
for library, version in sorted(set(re.findall(r"(?m)^(netty-[\w-]+)\.version=(\S+)", texts))):
    print(library, version)
END
python3 /tmp/versions.py; /opt/java/bin/java --list-modules' > "$directory/java.txt"

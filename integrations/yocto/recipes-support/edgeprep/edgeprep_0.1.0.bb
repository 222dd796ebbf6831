SUMMARY = "What rootless containers need of a host, and its repair"
DESCRIPTION = "Tells whether rootless Podman, K3s, k3d, kind, minikube or Usernetes will run on this host for a user, \
               why not, and repairs it. One static program; the native one is what the class edgeprep_image runs."
HOMEPAGE = "${EDGEPREP_MIRROR}"
SECTION = "utils"
LICENSE = "Apache-2.0"
LIC_FILES_CHKSUM = "file://${COMMON_LICENSE_DIR}/Apache-2.0;md5=89aea4e17d99a7cacdbeed46a0096b10"

# The directory with the files of its release, as a URL such as https://... or file:///...
EDGEPREP_MIRROR ??= "file:///srv/edgeprep"
# HOST_ARCH is the target's, and the build machine's for -native. Both names are those of the release.
EDGEPREP_FILE = "edgeprep-${PV}-${HOST_ARCH}"
SRC_URI = "${EDGEPREP_MIRROR}/${EDGEPREP_FILE};unpack=0;name=${HOST_ARCH}"
# Of what is downloaded bitbake wants the hash: SRC_URI[x86_64.sha256sum] and SRC_URI[aarch64.sha256sum], from
# SHA256SUMS of the release, in an append file or a distribution's configuration.

COMPATIBLE_HOST = "(x86_64|aarch64).*"
S = "${UNPACKDIR}"

# It is linked statically, and stripped.
INHIBIT_DEFAULT_DEPS = "1"
INHIBIT_PACKAGE_STRIP = "1"
INHIBIT_SYSROOT_STRIP = "1"
INHIBIT_PACKAGE_DEBUG_SPLIT = "1"

do_configure[noexec] = "1"
do_compile[noexec] = "1"

do_install() {
    # A file:// URL leaves the path that it had.
    program=$(find ${UNPACKDIR} -name "${EDGEPREP_FILE}" -type f | head -n 1)
    install -d ${D}${bindir}
    install -m 0755 "$program" ${D}${bindir}/edgeprep
}

# nooelint: oelint.vars.insaneskip
INSANE_SKIP:${PN} += "already-stripped"

BBCLASSEXTEND = "native"

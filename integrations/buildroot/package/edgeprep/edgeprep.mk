################################################################################
#
# edgeprep
#
################################################################################

EDGEPREP_VERSION = 0.1.0
EDGEPREP_SITE = $(call qstrip,$(BR2_PACKAGE_EDGEPREP_SITE))
EDGEPREP_SOURCE = edgeprep-$(EDGEPREP_VERSION)-$(ARCH)
EDGEPREP_LICENSE = Apache-2.0
# It is linked statically: neither a toolchain nor a C library is needed.
EDGEPREP_ADD_TOOLCHAIN_DEPENDENCY = NO

HOST_EDGEPREP_SOURCE = edgeprep-$(EDGEPREP_VERSION)-$(HOSTARCH)

define EDGEPREP_EXTRACT_CMDS
	cp $(EDGEPREP_DL_DIR)/$(EDGEPREP_SOURCE) $(@D)/edgeprep
endef

define EDGEPREP_INSTALL_TARGET_CMDS
	$(INSTALL) -D -m 0755 $(@D)/edgeprep $(TARGET_DIR)/usr/bin/edgeprep
endef

define HOST_EDGEPREP_EXTRACT_CMDS
	cp $(HOST_EDGEPREP_DL_DIR)/$(HOST_EDGEPREP_SOURCE) $(@D)/edgeprep
endef

define HOST_EDGEPREP_INSTALL_CMDS
	$(INSTALL) -D -m 0755 $(@D)/edgeprep $(HOST_DIR)/bin/edgeprep
endef

# The script of board/ runs it on the machine that builds.
EDGEPREP_DEPENDENCIES = host-edgeprep

$(eval $(generic-package))
$(eval $(host-generic-package))

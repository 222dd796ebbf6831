include $(sort $(wildcard $(BR2_EXTERNAL_EDGEPREP_PATH)/package/*/*.mk))


/*
 * Added to the end of kernel/cgroup/cgroup.c: cgroup_enable=NAME,... takes back a cgroup_disable= that comes before
 * it. The kernels of Raspberry Pi OS know it (raspberrypi/linux issue 6980), kernel.org's and Debian's do not.
 */
static int __init cgroup_enable(char *names)
{
	struct cgroup_subsys *ss;
	char *name;
	int i;

	while ((name = strsep(&names, ",")) != NULL) {
		for_each_subsys(ss, i) {
			if (strcmp(name, ss->name))
				continue;
			static_branch_enable(cgroup_subsys_enabled_key[i]);
			pr_info("Enabling %s control group subsystem\n", name);
		}
	}
	return 1;
}
__setup("cgroup_enable=", cgroup_enable);

//! Which kernel options build which modules, as far as stacks ask for them: a module that cannot be
//! seen is told by its option, and an option that cannot be read by its module.

/// Modules and the options that build them. `ip_tables` and `ip6_tables` have no option that means the
/// same in every kernel (up to 6.8 `IP_NF_IPTABLES`, which since 6.17 is about nft_compat's matches
/// only), so it is an option that takes them along. From `net/*/Kconfig`, `net/*/netfilter/Makefile`
/// and `drivers/net/Kconfig` of Linux 5.10 to 7.2.
const OPTIONS: [(&str, &[&str]); 32] = [
    ("br_netfilter", &["BRIDGE_NETFILTER"]),
    ("bridge", &["BRIDGE"]),
    ("fuse", &["FUSE_FS"]),
    ("ip6_tables", &["IP6_NF_IPTABLES_LEGACY", "IP6_NF_FILTER", "IP6_NF_NAT"]),
    ("ip6table_filter", &["IP6_NF_FILTER"]),
    ("ip6table_nat", &["IP6_NF_NAT"]),
    ("ip_set", &["IP_SET"]),
    ("ip_set_hash_ip", &["IP_SET_HASH_IP"]),
    ("ip_set_hash_net", &["IP_SET_HASH_NET"]),
    ("ip_tables", &["IP_NF_IPTABLES_LEGACY", "IP_NF_FILTER", "IP_NF_NAT"]),
    ("iptable_filter", &["IP_NF_FILTER"]),
    ("iptable_nat", &["IP_NF_NAT"]),
    ("nf_conntrack", &["NF_CONNTRACK"]),
    ("nf_nat", &["NF_NAT"]),
    ("nf_tables", &["NF_TABLES"]),
    ("nft_chain_nat", &["NFT_NAT"]),
    ("nft_compat", &["NFT_COMPAT"]),
    ("nft_ct", &["NFT_CT"]),
    ("nft_masq", &["NFT_MASQ"]),
    ("overlay", &["OVERLAY_FS"]),
    ("tun", &["TUN"]),
    ("veth", &["VETH"]),
    ("vxlan", &["VXLAN"]),
    ("xt_MASQUERADE", &["NETFILTER_XT_TARGET_MASQUERADE"]),
    ("xt_addrtype", &["NETFILTER_XT_MATCH_ADDRTYPE"]),
    ("xt_comment", &["NETFILTER_XT_MATCH_COMMENT"]),
    ("xt_conntrack", &["NETFILTER_XT_MATCH_CONNTRACK"]),
    ("xt_mark", &["NETFILTER_XT_MARK"]),
    ("xt_multiport", &["NETFILTER_XT_MATCH_MULTIPORT"]),
    ("xt_nat", &["NETFILTER_XT_NAT"]),
    ("xt_set", &["NETFILTER_XT_SET"]),
    ("xt_statistic", &["NETFILTER_XT_MATCH_STATISTIC"]),
];

/// The options of which any one builds `module`; none where that is not known.
pub fn options_of(module: &str) -> &'static [&'static str] {
    OPTIONS.iter().find(|(name, _)| *name == module).map_or(&[], |(_, options)| options)
}

/// The module that exists only if `option` is on.
pub fn module_of(option: &str) -> Option<&'static str> {
    OPTIONS.iter().find(|(_, options)| options.first() == Some(&option)).map(|(name, _)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_directions() {
        assert_eq!(options_of("veth"), ["VETH"]);
        assert!(options_of("no_such").is_empty());
        assert_eq!(module_of("BRIDGE_NETFILTER"), Some("br_netfilter"));
        assert_eq!(module_of("IP_NF_NAT"), Some("iptable_nat"));
        assert_eq!(module_of("IP_NF_IPTABLES"), None, "it no longer builds ip_tables");
    }
}

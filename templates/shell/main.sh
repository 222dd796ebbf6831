
force='' dry='' changes='' in_the_way=''
while getopts fnh option; do
    case $option in
        f) force=1 ;;
        n) dry=1 ;;
        h) usage && exit 0 ;;
        *) usage >&2 && exit 2 ;;
    esac
done
shift $((OPTIND - 1))
[ $# -le 1 ] || die 'one root at most'
root=${1-}
root=${root%/}
[ -d "$root/" ] || die "$root is no directory"
me=$(id -u)
[ "$me" = 0 ] || [ -n "$root" ] || die 'run this as root'
umask 022

for file in subuid subgid; do
    refuse_links "/etc/$file"
    if [ -n "$root" ] && [ -L "$root/etc/$file" ]; then die "$root/etc/$file is a link"; fi
done
entries look
if [ -n "$dry" ]; then
    [ -z "$changes" ] || exit 1
    exit 0
fi
if [ -n "$in_the_way" ] && [ -z "$force" ]; then
    say 'nothing was changed: look at the differences, then run this again with -f'
    exit 1
fi
entries put
subordinate
if [ -n "$root" ] || [ ! -d /run/systemd/system ] || [ "${SYSTEMD_OFFLINE-}" = 1 ]; then
    exit 0
fi
activate

set -eu

usage() {
    printf '%s\n' \
        "usage: sh $0 [-n] [-f] [ROOT]" \
        '  without ROOT  on this running host, as root: writes, and puts into effect what can be at once' \
        '  ROOT          into the root of an image: writes only' \
        '  -n            shows what would change, and changes nothing' \
        '  -f            replaces files that are there and differ; each stays as NAME.before-edgeprep'
}

say() { printf '%s\n' "$*" >&2; }

die() {
    say "$0: $*"
    exit 2
}

# Whether PATH is a file with this text.
has_text() { [ -f "$1" ] && [ ! -L "$1" ] && [ "$(cat "$1" && echo x)" = "$2x" ]; }

# Whether it is there: IS KIND PATH TEXT
is_there() {
    case $1 in
        dir) [ -d "$2" ] ;;
        file) has_text "$2" "$3" ;;
        link) [ -L "$2" ] && [ "$(readlink "$2")" = "$3" ] ;;
    esac
}

# A link above a path of an image can lead to the machine that builds it.
refuse_links() {
    [ -n "$root" ] || return 0
    at=$root
    rest=${1#/}
    while [ "$rest" != "${rest#*/}" ]; do
        at=$at/${rest%%/*}
        rest=${rest#*/}
        [ ! -L "$at" ] || die "$at is a link: run this in the image (chroot), where it leads to the right place"
    done
}

# What follows is called for each entry: KIND MODE UID GID PATH TEXT

look() {
    refuse_links "$5"
    path=$root$5
    if is_there "$1" "$path" "$6"; then
        return 0
    fi
    changes=1
    [ "$me" = 0 ] || [ "$3:$4" = 0:0 ] || die "$5 belongs to $3:$4: only root can write it"
    if [ ! -e "$path" ] && [ ! -L "$path" ]; then
        say "new: $1 $5"
    elif [ "$1" = file ] && [ -f "$path" ] && [ ! -L "$path" ]; then
        in_the_way=1
        say "differs: $5"
        printf '%s' "$6" | diff -u "$path" - >&2 || true
    elif [ "$1" = link ] && [ -L "$path" ]; then
        in_the_way=1
        say "differs: $5 leads to $(readlink "$path"), not to $6"
    else
        die "$path is there and no $1: remove it"
    fi
}

put() {
    path=$root$5
    if is_there "$1" "$path" "$6"; then
        return 0
    fi
    mkdir -p "${path%/*}"
    new=$path.edgeprep-new
    rm -f "$new"
    case $1 in
        dir)
            new=$path
            mkdir "$path"
            chmod "$2" "$path"
            ;;
        file)
            printf '%s' "$6" >"$new"
            chmod "$2" "$new"
            ;;
        link) ln -s "$6" "$new" ;;
    esac
    if [ "$me" = 0 ]; then
        chown -h "$3:$4" "$new"
    fi
    if [ -e "$path" ] && [ "$1" = file ]; then
        rm -f "$path.before-edgeprep"
        cp -p "$path" "$path.before-edgeprep"
    fi
    if [ "$new" != "$path" ]; then
        mv -f "$new" "$path"
    fi
}

# Behind all ranges of both files, where no other user has an ID.
if ! grep -q '^subid:' "$root/etc/nsswitch.conf" 2>/dev/null; then
    first=$(cat "$root/etc/subuid" "$root/etc/subgid" 2>/dev/null | awk -F: -v first="$first" -v count="$count" '
        $2 ~ /^[0-9]+$/ && $3 ~ /^[0-9]+$/ && $2 + $3 > first { first = $2 + $3 }
        END { if (first + count <= 600100001) printf "%d", first }')
    if [ -z "$first" ]; then
        echo "there is no room for $count subordinate IDs of $user below 600100000" >&2
        exit 1
    fi
    for file in "$root/etc/subuid" "$root/etc/subgid"; do
        if grep -q -e "^$user:" -e "^$uid:" "$file" 2>/dev/null; then
            continue
        fi
        {
            if [ -e "$file" ]; then awk 1 "$file"; fi
            echo "$user:$first:$count"
        } >"$file.edgeprep-new"
        chmod 0644 "$file.edgeprep-new"
        mv "$file.edgeprep-new" "$file"
    done
fi

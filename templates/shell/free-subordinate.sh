# Behind all ranges of both files no other user has an ID.
first=$(cat "${root-}/etc/subuid" "${root-}/etc/subgid" 2>/dev/null | awk -F: -v first="$first" -v count="$count" '
    $2 ~ /^[0-9]+$/ && $3 ~ /^[0-9]+$/ && $2 + $3 > first { first = $2 + $3 }
    END { if (first + count <= 600100001) printf "%d", first }')
lacking=''
for file in subuid subgid; do
    grep -q -e "^$user:" -e "^$uid:" "${root-}/etc/$file" 2>/dev/null || lacking="$lacking $file"
done
# Elsewhere than in these files they are not given here.
if grep -q '^subid:' "${root-}/etc/nsswitch.conf" 2>/dev/null; then lacking=''; fi
if [ -z "$first" ] && [ -n "$lacking" ]; then
    echo "there is no room for $count subordinate IDs of $user below 600100000" >&2
    exit 1
fi
echo "$first$lacking"

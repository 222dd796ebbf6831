for file in ${found#* }; do
    [ "$file" != "$found" ] || continue
    file=$root/etc/$file
    rm -f "$file.edgeprep-new"
    {
        if [ -e "$file" ]; then awk 1 "$file"; fi
        echo "$user:${found%% *}:$count"
    } >"$file.edgeprep-new"
    chmod 0644 "$file.edgeprep-new"
    mv "$file.edgeprep-new" "$file"
done

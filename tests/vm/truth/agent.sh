# Runs in a lab machine at every boot: carries out what comes in at the port, one request after the other.
#
#     run SIZE SECONDS   the SIZE bytes that follow are a bash script, which is ended after that time; the answer
#                        is "CODE SIZE" and its output, and CODE is 124 or 137 where it was ended
#     put MODE PATH SIZE the SIZE bytes that follow become a file; the answer is "0 0"
port=/dev/virtio-ports/edgeprep.agent
script=/var/lib/edgeprep-lab/script
output=/var/lib/edgeprep-lab/output
mkdir -p /var/lib/edgeprep-lab
serve() {
    local word first path size code
    while read -r -u 3 word first path size; do
        case $word in
            run)
                head -c "$first" <&3 >"$script"
                code=0
                (cd / && exec 3>&- && exec timeout --kill-after 10 "$path" bash "$script") \
                    >"$output" 2>&1 </dev/null || code=$?
                # What it left running may go on to write.
                size=$(stat -c %s "$output")
                printf '%s %s\n' "$code" "$size" >&3
                head -c "$size" "$output" >&3
                ;;
            put)
                head -c "$size" <&3 >"$path.new"
                chmod "$first" "$path.new"
                mv "$path.new" "$path"
                echo '0 0' >&3
                ;;
        esac
    done
}
while :; do
    exec 3<>"$port" && serve
    exec 3>&-
    sleep 0.1
done

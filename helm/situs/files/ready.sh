# Run by `helm test`: waits until each address answers /readyz with 200.
#
#   ready.sh SECONDS HOST:PORT…
#
# The image has no client of HTTP, and bash has sockets.
set -u
deadline=$(($(date +%s) + $1))
shift
for address in "$@"; do
    while :; do
        answer=$(
            exec 2>/dev/null
            exec 3<>"/dev/tcp/${address%:*}/${address##*:}" || exit 0
            printf 'GET /readyz HTTP/1.0\r\n\r\n' >&3
            timeout 5 cat <&3
        )
        case $answer in
        'HTTP/1.'[01]' 200 '*)
            echo "$address is ready"
            break
            ;;
        esac
        if (($(date +%s) >= deadline)); then
            echo "$address is not ready: ${answer##*$'\n'}"
            exit 1
        fi
        sleep 2
    done
done

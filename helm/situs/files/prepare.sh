# Run by each pod before Situs starts: puts what is secret, and the pod's name, where Situs reads them, in memory.
#
#   prepare.sh CONFIG SECRETS RUN
#
# Kubernetes gives a Secret's files to a group, and Situs refuses a key that a group may read: so they are copied, with
# the mode 0400. In CONFIG/site.yaml `"@pod"` stands for $POD_NAME and `"@secret"` for SECRETS/properties/<its key>.
set -eu
config=$1 secrets=$2 run=$3
umask 077

refuse() {
    echo "prepare: $*" >&2
    exit 1
}

for file in "$secrets"/* "$secrets"/*/*; do
    case $file in "$secrets"/properties/*) continue ;; esac
    [ -f "$file" ] || continue
    name=${file#"$secrets"/}
    mkdir -p "$run/$(dirname "$name")"
    install -m 0400 "$file" "$run/$name"
done

while IFS= read -r line || [ -n "$line" ]; do
    case $line in
    *'"@pod"')
        line="${line%@pod\"}${POD_NAME:?}\""
        ;;
    *'"@secret"')
        name=${line%%:*}
        name=${name##* }
        [ -f "$secrets/properties/$name" ] || refuse "the secret of $name is missing"
        # A quoted text of YAML: quotes and backslashes are escaped, and nothing else may need it.
        value=$(sed 's/[\\"]/\\&/g' "$secrets/properties/$name")
        case $value in
        '') refuse "the secret of $name is empty" ;;
        *[[:cntrl:]]*) refuse "the secret of $name has a control character, such as the end of a line" ;;
        esac
        line="${line%@secret\"}$value\""
        ;;
    esac
    printf '%s\n' "$line"
done <"$config/site.yaml" >"$run/site.yaml.new"
mv -f "$run/site.yaml.new" "$run/site.yaml"

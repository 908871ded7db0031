{{/* The name that all names begin with. */}}
{{- define "situs.name" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* A name of at most 52 characters, as CronJobs need: what is longer ends in a hash of the whole. */}}
{{- define "situs.short" -}}
{{- if gt (len .) 52 -}}
{{- printf "%s-%s" (trunc 43 . | trimSuffix "-") (sha256sum . | trunc 8) -}}
{{- else -}}
{{- . -}}
{{- end -}}
{{- end -}}

{{/* A zone's name as a part of names in Kubernetes: of `EU_WEST`, `eu-west`. */}}
{{- define "situs.zone" -}}
{{- lower . | replace "_" "-" -}}
{{- end -}}

{{/* The name of a zone's claim. Takes `root`, `zone`. */}}
{{- define "situs.claim" -}}
{{- $of := index .root.Values.zones .zone -}}
{{- $of.existingClaim | default (printf "%s-store-%s" (include "situs.name" .root) (include "situs.zone" .zone)) -}}
{{- end -}}

{{/* The access mode of a zone's volume. */}}
{{- define "situs.accessMode" -}}
{{- .accessMode | default "ReadWriteMany" -}}
{{- end -}}

{{/* The folder of a zone's store in a pod. Takes `root`, `zone`. Not the volume's own folder: that one has the mode that Kubernetes gives it. */}}
{{- define "situs.folder" -}}
{{- printf "/stores/%s/%s" (include "situs.zone" .zone) ((index .root.Values.zones .zone).folder | default "store") -}}
{{- end -}}

{{- define "situs.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{/* Takes `root`, `component`. */}}
{{- define "situs.labels" -}}
{{ include "situs.selector" .root }}
app.kubernetes.io/component: {{ .component }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Of pods: without what changes with each version of the chart. Takes `root`, `component`. */}}
{{- define "situs.podLabels" -}}
{{ include "situs.selector" .root }}
app.kubernetes.io/component: {{ .component }}
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "situs.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{- printf "%s@%s" .repository .digest -}}
{{- else -}}
{{- printf "%s:%s" .repository (.tag | default $.Chart.AppVersion) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Seconds of a duration of site.yaml, rounded up. */}}
{{- define "situs.seconds" -}}
{{- $number := regexFind "^[0-9]+" . | int64 -}}
{{- $scale := get (dict "s" 1 "m" 60 "h" 3600 "d" 86400) (regexFind "[a-z]+$" .) -}}
{{- if hasSuffix "ms" . -}}
{{- div (add $number 999) 1000 -}}
{{- else -}}
{{- mul $number $scale -}}
{{- end -}}
{{- end -}}

{{/* Bytes of a size, of site.yaml or of Kubernetes. */}}
{{- define "situs.bytes" -}}
{{- if kindIs "string" . -}}
{{- $number := regexFind "^[0-9]+" . | int64 -}}
{{- $scales := dict "" 1 "B" 1 "k" 1000 "kB" 1000 "Ki" 1024 "KiB" 1024 "M" 1000000 "MB" 1000000 "Mi" 1048576 "MiB" 1048576 "G" 1000000000 "GB" 1000000000 "Gi" 1073741824 "GiB" 1073741824 "T" 1000000000000 "Ti" 1099511627776 -}}
{{- $unit := regexFind "[A-Za-z]*$" . -}}
{{- if or (not (hasKey $scales $unit)) (not (regexMatch "^[0-9]+ ?[A-Za-z]*$" .)) -}}
{{- fail (printf "%q is no size: expected a whole number and a unit, such as 1536Mi or 2Gi" .) -}}
{{- end -}}
{{- mul $number (get $scales $unit) -}}
{{- else -}}
{{- int64 . -}}
{{- end -}}
{{- end -}}

{{/* Numbers of YAML come as floats; texts are left as they are. */}}
{{- define "situs.text" -}}
{{- if kindIs "float64" . -}}{{ int64 . }}{{- else -}}{{ toString . }}{{- end -}}
{{- end -}}

{{/* The grace period: SIGTERM comes after the pause, the drain after SIGTERM, and something may be slow. */}}
{{- define "situs.grace" -}}
{{- $drain := include "situs.seconds" (index .Values.site "drain-timeout" | default "30s") | int64 -}}
{{- add $drain .Values.termination.preStopSeconds .Values.termination.marginSeconds -}}
{{- end -}}

{{/* How many pods there may be at once. */}}
{{- define "situs.most" -}}
{{- if eq .Values.autoscaling.kind "none" -}}{{ .Values.replicas }}{{- else -}}{{ .Values.autoscaling.maxReplicas }}{{- end -}}
{{- end -}}

{{/* Whether a volume can be mounted by one node only: then everything that mounts volumes must run there. */}}
{{- define "situs.oneNode" -}}
{{- range .Values.zones }}{{ if eq (include "situs.accessMode" .) "ReadWriteOnce" }}yes{{ end }}{{ end -}}
{{- end -}}

{{/* Names of the pipelines, as a JSON list. */}}
{{- define "situs.pipelines" -}}
{{- $names := keys .Values.pipelines.extra -}}
{{- if .Values.pipelines.shipped -}}
{{- range $path, $_ := .Files.Glob "files/pipelines/*/pipeline.yaml" -}}
{{- $names = append $names (base (dir $path)) -}}
{{- end -}}
{{- end -}}
{{- $names | uniq | sortAlpha | toJson -}}
{{- end -}}

{{/* Paths of the schemas such as `topic/v1`, as a JSON list. */}}
{{- define "situs.schemas" -}}
{{- $paths := keys .Values.pipelines.schemas -}}
{{- if .Values.pipelines.shipped -}}
{{- range $path, $_ := .Files.Glob "files/schemas/*/*.json" -}}
{{- $paths = append $paths (trimPrefix "files/schemas/" $path | trimSuffix ".json") -}}
{{- end -}}
{{- end -}}
{{- $paths | uniq | sortAlpha | toJson -}}
{{- end -}}

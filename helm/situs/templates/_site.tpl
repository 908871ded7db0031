{{/*
site.yaml. `"@pod"` and `"@secret"` at the end of a line are replaced by files/prepare.sh in each pod.
*/}}
{{- define "situs.site" -}}
{{- $v := .Values -}}
# Made by the chart. Each pod has a copy with its name and secrets in memory.
home:
  site: {{ $v.home.site | toJson }}
  zone: {{ $v.home.zone | toJson }}
kafka:
  cluster: {{ $v.kafka.cluster | toJson }}
  brokers: {{ join "," $v.kafka.brokers | toJson }}
  group: {{ $v.kafka.group | toJson }}
  properties:
{{- range $name, $value := include "situs.properties" . | fromJson }}
    {{ $name }}: {{ include "situs.text" $value | toJson }}
{{- end }}
pipelines: /etc/situs/config/pipelines
schemas: /etc/situs/config/schemas
policy: /etc/situs/policy/policy.yaml
policy-reload: {{ $v.policy.live }}
{{- with $v.pipelines.enabled }}
enabled: {{ toJson . }}
{{- end }}
stores:
{{- range $zone, $_ := $v.zones }}
  {{ $zone }}: {{ include "situs.folder" (dict "root" $ "zone" $zone) }}
{{- end }}
receipts:
{{- if $v.keys.allowUnsigned }}
  allow-unsigned: true
{{- else }}
  signing-key: /run/situs/receipts-key.pem
{{- end }}
{{- if $v.keys.trusted }}
  trusted-keys:
{{- range $name, $_ := $v.keys.trusted }}
    - /etc/situs/config/trusted/{{ $name }}.pem
{{- end }}
{{- end }}
{{- if $v.keys.pseudonyms }}
pseudonym-keys:
{{- range $zone, $_ := $v.keys.pseudonyms }}
  {{ $zone }}: /run/situs/pseudonym-keys/{{ $zone }}.key
{{- end }}
{{- end }}
http:
  listen: {{ printf "%s:%v" $v.http.address $v.http.port | toJson }}
{{- $site := deepCopy $v.site -}}
{{- if $v.maintenance.schedule -}}
{{- $_ := set $site "maintenance" (mergeOverwrite (deepCopy ($site.maintenance | default dict)) (dict "optimize" false "vacuum" false)) -}}
{{- end -}}
{{- range $key, $value := $site }}
{{- if kindIs "map" $value }}
{{- if $value }}
{{ $key }}:
{{- range $inner, $text := $value }}
  {{ $inner }}: {{ include "situs.plain" $text }}
{{- end }}
{{- end }}
{{- else if not (kindIs "invalid" $value) }}
{{ $key }}: {{ include "situs.plain" $value }}
{{- end }}
{{- end }}
{{ end -}}

{{- define "situs.plain" -}}
{{- if kindIs "string" . -}}{{ toJson . }}{{- else -}}{{ include "situs.text" . }}{{- end -}}
{{- end -}}

{{/* All properties of the client, as a JSON object. */}}
{{- define "situs.properties" -}}
{{- $k := .Values.kafka -}}
{{- $all := dict "client.id" "@pod" -}}
{{- if $k.staticMembership -}}
{{- $_ := set $all "group.instance.id" "@pod" -}}
{{- end -}}
{{- if $k.tls.enabled -}}
{{- $_ := set $all "security.protocol" (ternary "sasl_ssl" "ssl" (ne $k.sasl.mechanism "")) -}}
{{- if $k.tls.ca -}}
{{- $_ := set $all "ssl.ca.location" "/run/situs/kafka/ca.pem" -}}
{{- end -}}
{{- if $k.tls.certificate -}}
{{- $_ := set $all "ssl.certificate.location" "/run/situs/kafka/certificate.pem" -}}
{{- $_ := set $all "ssl.key.location" "/run/situs/kafka/key.pem" -}}
{{- end -}}
{{- else if $k.sasl.mechanism -}}
{{- $_ := set $all "security.protocol" "sasl_plaintext" -}}
{{- end -}}
{{- if $k.sasl.mechanism -}}
{{- $_ := set $all "sasl.mechanism" $k.sasl.mechanism -}}
{{- if $k.sasl.username -}}
{{- $_ := set $all "sasl.username" $k.sasl.username -}}
{{- $_ := set $all "sasl.password" "@secret" -}}
{{- end -}}
{{- end -}}
{{- range $name, $_ := $k.secretProperties -}}
{{- $_ := set $all $name "@secret" -}}
{{- end -}}
{{- range $name, $value := $k.properties -}}
{{- $_ := set $all $name $value -}}
{{- end -}}
{{- toJson $all -}}
{{- end -}}

{{/*
The ConfigMaps of a home. Takes `root`; `suffix` of their names and `annotations` for those of the check before an upgrade.
*/}}
{{- define "situs.configMaps" -}}
{{- $root := .root -}}
{{- $component := ternary "check" "config" (ne .suffix "") -}}
{{- range $name := list "site" "pipelines" "schemas" "policy" }}
{{- if not (and (eq $name "policy") $root.Values.policy.existingConfigMap) }}
---
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ include "situs.name" $root }}-{{ $name }}{{ $.suffix }}
  namespace: {{ $root.Release.Namespace }}
  labels:
    {{- include "situs.labels" (dict "root" $root "component" $component) | nindent 4 }}
  {{- with $.annotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
data:
  {{- include (printf "situs.%sData" $name) $root | nindent 2 }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "situs.siteData" -}}
site.yaml: |
  {{- include "situs.site" . | trim | nindent 2 }}
prepare.sh: |
  {{- .Files.Get "files/prepare.sh" | trim | nindent 2 }}
{{- range $name, $text := .Values.keys.trusted }}
trusted.{{ $name }}.pem: |
  {{- $text | trim | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "situs.pipelinesData" -}}
{{- range $name := include "situs.pipelines" . | fromJsonArray }}
{{ $name }}: {{ get $.Values.pipelines.extra $name | default ($.Files.Get (printf "files/pipelines/%s/pipeline.yaml" $name)) | toJson }}
{{- end }}
{{- end -}}

{{- define "situs.schemasData" -}}
{{- range $path := include "situs.schemas" . | fromJsonArray }}
{{ replace "/" "--" $path }}: {{ get $.Values.pipelines.schemas $path | default ($.Files.Get (printf "files/schemas/%s.json" $path)) | toJson }}
{{- end }}
{{- end -}}

{{/* One ConfigMap, so that a policy and its files of devices are replaced together. */}}
{{- define "situs.policyData" -}}
policy.yaml: {{ toJson .Values.policy.text }}
{{- with .Values.policy.readers }}
readers.yaml: {{ toJson . }}
{{- end }}
{{- with .Values.policy.cedar }}
readers.cedar: {{ toJson . }}
{{- end }}
{{- range $name, $text := .Values.policy.devices }}
{{ $name }}: {{ toJson $text }}
{{- end }}
{{- end -}}

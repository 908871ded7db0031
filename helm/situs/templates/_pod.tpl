{{/* What all pods have. Takes `root`. */}}
{{- define "situs.pod" -}}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: {{ .root.Values.security.runAsUser }}
  runAsGroup: {{ .root.Values.security.runAsGroup }}
  {{- with .root.Values.security.fsGroup }}
  fsGroup: {{ . }}
  # Otherwise each mount would give the group all files of the stores, which Situs refuses then.
  fsGroupChangePolicy: OnRootMismatch
  {{- end }}
  seccompProfile: { type: RuntimeDefault }
{{- with .root.Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- with .root.Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .root.Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .root.Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* What all containers have. Takes the root. */}}
{{- define "situs.container" -}}
image: {{ include "situs.image" . }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: { drop: [ALL] }
{{- end -}}

{{/* Nodes in the regions of a zone, and with a volume for one node the node that has it. Takes `root`, `zone`. */}}
{{- define "situs.affinity" -}}
affinity:
  nodeAffinity:
    requiredDuringSchedulingIgnoredDuringExecution:
      nodeSelectorTerms:
        - matchExpressions:
            - key: {{ .root.Values.regionLabel }}
              operator: In
              values: {{ toJson (index .root.Values.zones .zone).regions }}
  {{- if include "situs.oneNode" .root }}
  podAffinity:
    requiredDuringSchedulingIgnoredDuringExecution:
      - topologyKey: kubernetes.io/hostname
        labelSelector:
          matchLabels: { situs/volumes: {{ include "situs.name" .root }} }
  {{- end }}
{{- end -}}

{{/* The label by which pods that mount volumes for one node find each other. */}}
{{- define "situs.volumesLabel" -}}
{{- if include "situs.oneNode" . -}}
situs/volumes: {{ include "situs.name" . }}
{{- end -}}
{{- end -}}

{{/* Configuration and policy. Takes `root`, `suffix`. */}}
{{- define "situs.configVolumes" -}}
{{- $name := include "situs.name" .root -}}
- name: config
  projected:
    sources:
      - configMap:
          name: {{ $name }}-site{{ .suffix }}
          items:
            - { key: site.yaml, path: site.yaml }
            - { key: prepare.sh, path: prepare.sh }
            {{- range $key, $_ := .root.Values.keys.trusted }}
            - { key: trusted.{{ $key }}.pem, path: trusted/{{ $key }}.pem }
            {{- end }}
      - configMap:
          name: {{ $name }}-pipelines{{ .suffix }}
          items:
            {{- range include "situs.pipelines" .root | fromJsonArray }}
            - { key: {{ . }}, path: pipelines/{{ . }}/pipeline.yaml }
            {{- end }}
      - configMap:
          name: {{ $name }}-schemas{{ .suffix }}
          items:
            {{- range include "situs.schemas" .root | fromJsonArray }}
            - { key: {{ replace "/" "--" . }}, path: schemas/{{ . }}.json }
            {{- end }}
- name: policy
  configMap:
    name: {{ .root.Values.policy.existingConfigMap | default (printf "%s-policy%s" $name .suffix) }}
{{- end -}}

{{- define "situs.configMounts" -}}
- { name: config, mountPath: /etc/situs/config, readOnly: true }
- { name: policy, mountPath: /etc/situs/policy, readOnly: true }
{{- end -}}

{{/* What is secret, and the memory that it is copied into. Takes the root. */}}
{{- define "situs.secretVolumes" -}}
{{- $v := .Values -}}
{{- $items := list -}}
{{- with $v.keys.signing -}}
{{- $items = append $items (dict "of" . "path" "receipts-key.pem") -}}
{{- end -}}
{{- range $zone, $of := $v.keys.pseudonyms -}}
{{- $items = append $items (dict "of" $of "path" (printf "pseudonym-keys/%s.key" $zone)) -}}
{{- end -}}
{{- if $v.kafka.tls.enabled -}}
{{- range $what, $path := dict "ca" "ca.pem" "certificate" "certificate.pem" "key" "key.pem" -}}
{{- with get $v.kafka.tls $what -}}
{{- $items = append $items (dict "of" . "path" (printf "kafka/%s" $path)) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if $v.kafka.sasl.username -}}
{{- $items = append $items (dict "of" $v.kafka.sasl.password "path" "properties/sasl.password") -}}
{{- end -}}
{{- range $name, $of := $v.kafka.secretProperties -}}
{{- $items = append $items (dict "of" $of "path" (printf "properties/%s" $name)) -}}
{{- end -}}
- name: secrets
  {{- if $items }}
  projected:
    defaultMode: 0400
    sources:
      {{- range $items }}
      - {{ ternary "configMap" "secret" (hasKey .of "configMap") }}:
          name: {{ .of.configMap | default .of.secret }}
          items: [{ key: {{ .of.key | toJson }}, path: {{ .path }} }]
      {{- end }}
  {{- else }}
  emptyDir: { sizeLimit: 1Mi }
  {{- end }}
- name: run
  emptyDir: { medium: Memory, sizeLimit: 4Mi }
{{- end -}}

{{/* The container that makes /run/situs. Takes the root. */}}
{{- define "situs.prepare" -}}
- name: prepare
  command: [/bin/sh, /etc/situs/config/prepare.sh, /etc/situs/config, /secrets, /run/situs]
  {{- include "situs.container" . | nindent 2 }}
  env:
    - name: POD_NAME
      valueFrom: { fieldRef: { fieldPath: metadata.name } }
  resources:
    requests: { cpu: 10m, memory: 16Mi }
    limits: { memory: 64Mi }
  volumeMounts:
    - { name: config, mountPath: /etc/situs/config, readOnly: true }
    - { name: secrets, mountPath: /secrets, readOnly: true }
    - { name: run, mountPath: /run/situs }
{{- end -}}

{{/* The volumes of zones. Takes `root`, `zones`. */}}
{{- define "situs.storeVolumes" -}}
{{- range .zones }}
- name: store-{{ include "situs.zone" . }}
  persistentVolumeClaim: { claimName: {{ include "situs.claim" (dict "root" $.root "zone" .) }} }
{{- end }}
{{- end -}}

{{/* Takes `zones`, and `readOnly`. */}}
{{- define "situs.storeMounts" -}}
{{- range .zones }}
- { name: store-{{ include "situs.zone" . }}, mountPath: /stores/{{ include "situs.zone" . }}{{ if $.readOnly }}, readOnly: true{{ end }} }
{{- end }}
{{- end -}}

/** Generated from src/api/v1alpha1 by tools/generate-crds.ts (npm run generate). Do not edit. */
import type { Shape } from './shape.ts';

export const SHAPES: Readonly<Record<'VirtualServer' | 'VIPPool' | 'DirectorGroup', Shape>> = {
 "VirtualServer": {
  "type": "object",
  "required": [
   "apiVersion",
   "kind",
   "metadata",
   "spec"
  ],
  "properties": {
   "apiVersion": {
    "type": "string",
    "enum": [
     "ipvs-operator.dev/v1alpha1"
    ]
   },
   "kind": {
    "type": "string",
    "enum": [
     "VirtualServer"
    ]
   },
   "metadata": {
    "type": "object",
    "required": [
     "name"
    ],
    "properties": {
     "name": {
      "type": "string",
      "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$",
      "maxLength": 63
     },
     "namespace": {
      "type": "string",
      "default": "default",
      "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$",
      "maxLength": 63
     },
     "labels": {
      "type": "object",
      "additionalProperties": {
       "type": "string"
      }
     },
     "annotations": {
      "type": "object",
      "additionalProperties": {
       "type": "string"
      }
     },
     "uid": {},
     "resourceVersion": {},
     "generation": {},
     "generateName": {},
     "creationTimestamp": {},
     "deletionTimestamp": {},
     "deletionGracePeriodSeconds": {},
     "managedFields": {},
     "ownerReferences": {},
     "finalizers": {},
     "selfLink": {}
    }
   },
   "spec": {
    "type": "object",
    "required": [
     "mode",
     "ports",
     "backends"
    ],
    "properties": {
     "vip": {
      "type": "object",
      "properties": {
       "poolRef": {
        "type": "object",
        "required": [
         "name"
        ],
        "properties": {
         "name": {
          "type": "string",
          "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$",
          "maxLength": 253
         }
        }
       },
       "families": {
        "type": "array",
        "minItems": 1,
        "maxItems": 2,
        "items": {
         "type": "string",
         "enum": [
          "IPv4",
          "IPv6"
         ]
        }
       },
       "addresses": {
        "type": "array",
        "minItems": 1,
        "maxItems": 16,
        "items": {
         "type": "string",
         "minLength": 2,
         "maxLength": 45
        }
       },
       "sharedFrom": {
        "type": "object",
        "required": [
         "name"
        ],
        "properties": {
         "name": {
          "type": "string",
          "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$",
          "maxLength": 63
         }
        }
       }
      }
     },
     "mode": {
      "type": "string",
      "enum": [
       "NAT",
       "DR",
       "TUN"
      ]
     },
     "nat": {
      "type": "object",
      "properties": {
       "sourceAddress": {
        "type": "string",
        "default": "Auto",
        "enum": [
         "Auto",
         "Preserve",
         "Masquerade",
         "VirtualIP"
        ]
       }
      }
     },
     "tun": {
      "type": "object",
      "properties": {
       "encapsulation": {
        "type": "string",
        "default": "IPIP",
        "enum": [
         "IPIP",
         "GUE",
         "GRE"
        ]
       },
       "port": {
        "type": "integer",
        "minimum": 1,
        "maximum": 65535
       },
       "checksum": {
        "type": "string",
        "default": "None",
        "enum": [
         "None",
         "Checksum",
         "RemoteChecksum"
        ]
       }
      }
     },
     "ports": {
      "type": "array",
      "minItems": 1,
      "maxItems": 64,
      "items": {
       "type": "object",
       "required": [
        "port"
       ],
       "properties": {
        "name": {
         "type": "string",
         "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$",
         "maxLength": 63
        },
        "port": {
         "type": "integer",
         "minimum": 1,
         "maximum": 65535
        },
        "endPort": {
         "type": "integer",
         "minimum": 1,
         "maximum": 65535
        },
        "protocol": {
         "type": "string",
         "default": "TCP",
         "enum": [
          "TCP",
          "UDP",
          "SCTP"
         ]
        },
        "targetPort": {
         "type": "integer",
         "minimum": 1,
         "maximum": 65535
        }
       }
      }
     },
     "scheduler": {
      "type": "object",
      "default": {},
      "properties": {
       "name": {
        "type": "string",
        "default": "wrr",
        "enum": [
         "rr",
         "wrr",
         "lc",
         "wlc",
         "sh",
         "dh",
         "sed",
         "nq",
         "lblc",
         "lblcr",
         "mh",
         "fo",
         "ovf"
        ]
       },
       "fallback": {
        "type": "boolean",
        "default": false
       },
       "portAware": {
        "type": "boolean",
        "default": false
       },
       "onePacket": {
        "type": "boolean",
        "default": false
       }
      }
     },
     "persistence": {
      "type": "object",
      "properties": {
       "timeoutSeconds": {
        "type": "integer",
        "default": 300,
        "minimum": 1,
        "maximum": 2147483
       },
       "ipv4PrefixLength": {
        "type": "integer",
        "default": 32,
        "minimum": 1,
        "maximum": 32
       },
       "ipv6PrefixLength": {
        "type": "integer",
        "default": 128,
        "minimum": 1,
        "maximum": 128
       },
       "engine": {
        "type": "string",
        "enum": [
         "sip"
        ]
       },
       "scope": {
        "type": "string",
        "default": "Port",
        "enum": [
         "Port",
         "AllPorts"
        ]
       }
      }
     },
     "backends": {
      "type": "array",
      "minItems": 1,
      "maxItems": 16,
      "items": {
       "type": "object",
       "required": [
        "static"
       ],
       "properties": {
        "weight": {
         "type": "integer",
         "default": 1,
         "minimum": 0,
         "maximum": 65535
        },
        "static": {
         "type": "object",
         "required": [
          "endpoints"
         ],
         "properties": {
          "endpoints": {
           "type": "array",
           "maxItems": 1000,
           "items": {
            "type": "object",
            "required": [
             "address"
            ],
            "properties": {
             "address": {
              "type": "string",
              "minLength": 2,
              "maxLength": 45
             },
             "weight": {
              "type": "integer",
              "minimum": 0,
              "maximum": 65535
             }
            }
           }
          }
         }
        }
       }
      }
     },
     "connectionLimits": {
      "type": "object",
      "default": {},
      "properties": {
       "upper": {
        "type": "integer",
        "default": 0,
        "minimum": 0,
        "maximum": 2147483647
       },
       "lower": {
        "type": "integer",
        "default": 0,
        "minimum": 0,
        "maximum": 2147483647
       }
      }
     },
     "drain": {
      "type": "object",
      "default": {},
      "properties": {
       "timeoutSeconds": {
        "type": "integer",
        "default": 300,
        "minimum": 0,
        "maximum": 86400
       }
      }
     },
     "suspend": {
      "type": "boolean",
      "default": false
     }
    }
   },
   "status": {}
  }
 },
 "VIPPool": {
  "type": "object",
  "required": [
   "apiVersion",
   "kind",
   "metadata",
   "spec"
  ],
  "properties": {
   "apiVersion": {
    "type": "string",
    "enum": [
     "ipvs-operator.dev/v1alpha1"
    ]
   },
   "kind": {
    "type": "string",
    "enum": [
     "VIPPool"
    ]
   },
   "metadata": {
    "type": "object",
    "required": [
     "name"
    ],
    "properties": {
     "name": {
      "type": "string",
      "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$",
      "maxLength": 253
     },
     "labels": {
      "type": "object",
      "additionalProperties": {
       "type": "string"
      }
     },
     "annotations": {
      "type": "object",
      "additionalProperties": {
       "type": "string"
      }
     },
     "uid": {},
     "resourceVersion": {},
     "generation": {},
     "generateName": {},
     "creationTimestamp": {},
     "deletionTimestamp": {},
     "deletionGracePeriodSeconds": {},
     "managedFields": {},
     "ownerReferences": {},
     "finalizers": {},
     "selfLink": {}
    }
   },
   "spec": {
    "type": "object",
    "required": [
     "blocks"
    ],
    "properties": {
     "blocks": {
      "type": "array",
      "minItems": 1,
      "maxItems": 64,
      "items": {
       "type": "object",
       "properties": {
        "cidr": {
         "type": "string",
         "minLength": 4,
         "maxLength": 49
        },
        "start": {
         "type": "string",
         "minLength": 2,
         "maxLength": 45
        },
        "stop": {
         "type": "string",
         "minLength": 2,
         "maxLength": 45
        }
       }
      }
     },
     "excluded": {
      "type": "array",
      "default": [],
      "maxItems": 256,
      "items": {
       "type": "string",
       "minLength": 2,
       "maxLength": 45
      }
     },
     "allocateFirstLast": {
      "type": "boolean",
      "default": false
     },
     "autoAssign": {
      "type": "boolean",
      "default": true
     },
     "default": {
      "type": "boolean",
      "default": false
     },
     "allowedNamespaces": {
      "type": "object",
      "default": {},
      "properties": {
       "all": {
        "type": "boolean",
        "default": false
       },
       "matchLabels": {
        "type": "object",
        "maxProperties": 64,
        "additionalProperties": {
         "type": "string",
         "maxLength": 63
        }
       },
       "names": {
        "type": "array",
        "minItems": 1,
        "maxItems": 256,
        "items": {
         "type": "string",
         "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$",
         "maxLength": 63
        }
       }
      }
     },
     "quotaPerNamespace": {
      "type": "integer",
      "minimum": 1,
      "maximum": 1000000
     },
     "directorGroupRef": {
      "type": "object",
      "required": [
       "name"
      ],
      "properties": {
       "name": {
        "type": "string",
        "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$",
        "maxLength": 253
       }
      }
     },
     "allowStaticBackendCIDRs": {
      "type": "array",
      "default": [],
      "maxItems": 64,
      "items": {
       "type": "string",
       "minLength": 4,
       "maxLength": 49
      }
     },
     "disabled": {
      "type": "boolean",
      "default": false
     }
    }
   },
   "status": {}
  }
 },
 "DirectorGroup": {
  "type": "object",
  "required": [
   "apiVersion",
   "kind",
   "metadata"
  ],
  "properties": {
   "apiVersion": {
    "type": "string",
    "enum": [
     "ipvs-operator.dev/v1alpha1"
    ]
   },
   "kind": {
    "type": "string",
    "enum": [
     "DirectorGroup"
    ]
   },
   "metadata": {
    "type": "object",
    "required": [
     "name"
    ],
    "properties": {
     "name": {
      "type": "string",
      "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$",
      "maxLength": 253
     },
     "labels": {
      "type": "object",
      "additionalProperties": {
       "type": "string"
      }
     },
     "annotations": {
      "type": "object",
      "additionalProperties": {
       "type": "string"
      }
     },
     "uid": {},
     "resourceVersion": {},
     "generation": {},
     "generateName": {},
     "creationTimestamp": {},
     "deletionTimestamp": {},
     "deletionGracePeriodSeconds": {},
     "managedFields": {},
     "ownerReferences": {},
     "finalizers": {},
     "selfLink": {}
    }
   },
   "spec": {
    "type": "object",
    "default": {},
    "properties": {
     "nodeSelector": {
      "type": "object",
      "required": [
       "matchLabels"
      ],
      "properties": {
       "matchLabels": {
        "type": "object",
        "maxProperties": 64,
        "additionalProperties": {
         "type": "string",
         "maxLength": 63
        }
       }
      }
     },
     "interface": {
      "type": "object",
      "default": {},
      "properties": {
       "match": {
        "type": "string",
        "default": "SubnetOf",
        "enum": [
         "SubnetOf",
         "Name",
         "Regex"
        ]
       },
       "name": {
        "type": "string",
        "pattern": "^[^\\s/:]+$",
        "minLength": 1,
        "maxLength": 15
       },
       "regex": {
        "type": "string",
        "minLength": 1,
        "maxLength": 128
       }
      }
     },
     "connectionSync": {
      "type": "object",
      "default": {},
      "properties": {
       "enabled": {
        "type": "boolean",
        "default": false
       },
       "interface": {
        "type": "string",
        "pattern": "^[^\\s/:]+$",
        "minLength": 1,
        "maxLength": 15
       },
       "syncId": {
        "type": "integer",
        "default": 51,
        "minimum": 1,
        "maximum": 255
       }
      }
     },
     "timeouts": {
      "type": "object",
      "properties": {
       "tcpSeconds": {
        "type": "integer",
        "default": 900,
        "minimum": 1,
        "maximum": 2147483
       },
       "tcpFinSeconds": {
        "type": "integer",
        "default": 120,
        "minimum": 1,
        "maximum": 2147483
       },
       "udpSeconds": {
        "type": "integer",
        "default": 300,
        "minimum": 1,
        "maximum": 2147483
       }
      }
     }
    }
   },
   "status": {}
  }
 }
};

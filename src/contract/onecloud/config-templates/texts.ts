/** Configurations of programs that are not OneCloud's own and have files of their own form. */
import { credentialKey, onecloudPath } from '../names.ts';
import { placeholder } from '../render-secrets.ts';
import { accountOptions, type ConfigTemplate, sqlConnection } from './template.ts';

/** CoreDNS with OneCloud's plugin: names of servers from region's database, everything else to the forwarders. */
export const regionDns: ConfigTemplate = {
  format: 'text',
  text: (facts) => {
    const { mysql, database, region, regionServer, dnsProxies } = facts;
    if (database === undefined) throw new Error('region-dns reads the database of region');
    const account = accountOptions(facts);
    const lines = [
      '.:53 {',
      '    log',
      '    errors',
      '    yunion . {',
      `        sql_connection "${sqlConnection(mysql, database)}"`,
      `        dns_domain ${regionServer.dnsDomain}`,
      `        region ${region}`,
      `        auth_url ${account.auth_url}`,
      `        admin_user ${account.admin_user}`,
      `        admin_password "${account.admin_password}"`,
      `        admin_project ${account.admin_project}`,
      '        fallthrough .',
      '    }',
      ...dnsProxies.map(({ from, to }) => `    forward ${from} ${to.join(' ')}`),
      '}',
    ];
    return `${lines.join('\n')}\n`;
  },
};

/** nginx in front of the browser: the pages themselves, the API gateway and the consoles. */
export const web: ConfigTemplate = {
  format: 'text',
  text: ({ hostOf, runs }) => {
    const locationLines = (location: string, component: string, port: number, upgrade: boolean): string[] => [
      `    location ${location} {`,
      `        proxy_pass https://${hostOf(component)}:${port};`,
      '        proxy_redirect off;',
      '        proxy_set_header Host $host;',
      '        proxy_set_header X-Real-IP $remote_addr;',
      '        proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;',
      ...(upgrade
        ? [
            '        proxy_http_version 1.1;',
            '        proxy_set_header Upgrade $http_upgrade;',
            '        proxy_set_header Connection "upgrade";',
            '        proxy_read_timeout 86400;', // a console may be silent for a day
          ]
        : []),
      '    }',
    ];
    // nginx does not start while a name has no address
    const proxy = (location: string, component: string, port: number, upgrade = false): string[] =>
      runs(component) ? locationLines(location, component, port, upgrade) : [];
    const server = [
      'server {',
      '    listen 80 default_server;',
      '    server_name _;',
      '    return 301 https://$host$request_uri;',
      '}',
      'server {',
      '    listen 443 ssl default_server;',
      '    server_name _;',
      '    ssl_protocols TLSv1.2 TLSv1.3;',
      `    ssl_certificate ${onecloudPath.certificates}/service.crt;`,
      `    ssl_certificate_key ${onecloudPath.certificates}/service.key;`,
      '    client_max_body_size 0;', // images are uploaded through here
      '    location / {',
      '        root /usr/share/nginx/html;',
      '        index index.html;',
      '        try_files $uri $uri/ /index.html;',
      '    }',
      ...proxy('/api', 'apigateway', 30300),
      ...proxy('/ws', 'apigateway', 30443, true),
      ...proxy('/wsproxy/', 'webconsole', 30899, true),
      ...proxy('/connect', 'webconsole', 30899, true),
      '}',
    ];
    return `${server.join('\n')}\n`;
  },
};

export const INFLUXDB_DATA = '/var/lib/influxdb';
/** InfluxDB's TOML. */
export const influxdb: ConfigTemplate = {
  format: 'text',
  text: ({ port }) => {
    const lines = [
      'reporting-disabled = true',
      '[meta]',
      `  dir = "${INFLUXDB_DATA}/meta"`,
      '[data]',
      `  dir = "${INFLUXDB_DATA}/data"`,
      `  wal-dir = "${INFLUXDB_DATA}/wal"`,
      '  index-version = "tsi1"', // series in files, not in memory
      '[http]',
      '  enabled = true',
      `  bind-address = ":${port}"`,
      '  https-enabled = true',
      `  https-certificate = "${onecloudPath.certificates}/service.crt"`,
      `  https-private-key = "${onecloudPath.certificates}/service.key"`,
    ];
    return `${lines.join('\n')}\n`;
  },
};

/** What shells in climc's container read, so that the command-line client knows where and who it is. */
export const climc: ConfigTemplate = {
  format: 'text',
  text: (facts) => {
    const account = accountOptions(facts);
    const variables = {
      OS_AUTH_URL: account.auth_url,
      OS_USERNAME: account.admin_user,
      OS_PASSWORD: placeholder(credentialKey.account, 'sh'),
      OS_DOMAIN_NAME: account.admin_domain,
      OS_PROJECT_NAME: account.admin_project,
      OS_PROJECT_DOMAIN: account.admin_project_domain,
      OS_REGION_NAME: facts.region,
      OS_ENDPOINT_TYPE: account.session_endpoint_type,
      SSL_CERT_FILE: `${onecloudPath.certificates}/ca.crt`, // Go's verifier; the original switches verification off
    };
    return Object.entries(variables)
      .map(([name, value]) => `export ${name}="${value}"\n`)
      .join('');
  },
};

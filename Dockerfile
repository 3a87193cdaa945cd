# docker build -t otp-service .
#
# The image of a release names its base by digest, and the address of its sources:
# docker pull python:3.13-slim
# make dist BASE=$(docker image inspect --format '{{index .RepoDigests 0}}' python:3.13-slim) \
#     IMAGE_OPTIONS='--label org.opencontainers.image.source=ADDRESS'
#
# The ledger is in PostgreSQL (OTP_SERVICE__LEDGER__URL_FILE), or in a volume at /var/lib/otp-service.
#
# Without a network: put the wheels of requirements.lock and requirements-build.lock into wheelhouse/ and build
# with --build-arg PIP_OPTIONS="--no-index --find-links .".

ARG BASE=python:3.13-slim

FROM ${BASE} AS build
ARG PIP_OPTIONS=""
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /src
RUN python3 -m venv /opt/build && python3 -m venv --without-pip /opt/otp-service
COPY requirements.lock requirements-build.lock wheelhous[e] ./
RUN /opt/build/bin/pip install ${PIP_OPTIONS} --require-hashes -r requirements-build.lock \
    && /opt/build/bin/pip --python /opt/otp-service install --no-compile ${PIP_OPTIONS} \
        --require-hashes -r requirements.lock
COPY . .
RUN /opt/build/bin/pip wheel --no-index --no-deps --no-build-isolation --wheel-dir dist . \
    && /opt/build/bin/pip --python /opt/otp-service install --no-compile --no-index --no-deps dist/*.whl
# A quarter of the size is never imported: what phonenumbers knows of places, operators and time zones, Twilio's other
# products and its asynchronous client with all that this needs, SQLAlchemy's tests, a client of Valkey beside its server,
# Babel's tools for translators, lexers but of Python. The file system is read-only later: compile the rest now.
RUN cd /opt/otp-service/lib/python3*/site-packages \
    && rm -r phonenumbers/geodata phonenumbers/carrierdata phonenumbers/tzdata sqlalchemy/testing valkey babel/messages \
    && rm -r aiohttp* aiohappyeyeballs* aiosignal* frozenlist* multidict* propcache* yarl* \
    && find twilio/rest -mindepth 1 -maxdepth 1 ! -name __init__.py ! -name api -exec rm -r {} + \
    && find pygments/lexers -name '[a-z]*.py' ! -name python.py ! -name special.py -exec rm {} + \
    && /opt/otp-service/bin/python -m compileall -q .

FROM ${BASE}
ARG BASE
LABEL org.opencontainers.image.title=otp-service \
      org.opencontainers.image.licenses=Apache-2.0 \
      org.opencontainers.image.base.name=${BASE}
COPY --from=build /opt/otp-service /opt/otp-service
ENV PATH=/opt/otp-service/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    OTP_SERVICE__HTTP__HOST=0.0.0.0
RUN install -d -o 10001 -g 10001 -m 700 /var/lib/otp-service
USER 10001:10001
EXPOSE 8080 8082 9090 9091
# By the command that the container runs. Of "serve", which is well while it checks codes, whatever keeps starts back.
# Patient, as all of docker-compose.yml: a busy machine is no failure.
HEALTHCHECK --interval=5s --timeout=20s --start-period=30m --retries=6 CMD ["python", "-c", "\
import os, urllib.request; \
words = open('/proc/1/cmdline').read().split('\\0'); \
name, port, path = ('WORKER__METRICS_PORT', 9091, '/healthz') if 'worker' in words \
    else ('CONSOLE__PORT', 8082, '/healthz') if 'console' in words else ('HTTP__PORT', 8080, '/readyz/checks'); \
port = os.environ.get(f'OTP_SERVICE__{name}', port); \
urllib.request.urlopen(f'http://127.0.0.1:{port}{path}', timeout=15)"]
ENTRYPOINT ["otp-service"]
CMD ["serve"]
